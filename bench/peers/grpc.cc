/*
 * gRPC: one stream both ways, on the asynchronous interface, each side polled by
 * the thread that waits. A request is message { bytes tensor = 1; }, written as
 * protobuf has it but by hand, so that the tensor is a slice of its own that
 * nobody copies; the answer is the same with 40 bytes. What arrives comes in
 * many slices: they are joined where an engine could read them, once. No limit
 * on message sizes; minimal stack, which leaves out filters that are not needed.
 */
#include "bench/peer.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace {

enum Tag : intptr_t { kStart = 1, kRead, kWrite, kRequest };

void *as_tag(Tag t) { return reinterpret_cast<void *>(t); }

/* Field 1, length-delimited, and its length as a varint. */
std::string head_of(size_t bytes)
{
    std::string head(1, '\x0a');

    for (; bytes >= 0x80; bytes >>= 7)
        head.push_back(static_cast<char>(0x80 | (bytes & 0x7f)));
    head.push_back(static_cast<char>(bytes));
    return head;
}

grpc::ByteBuffer message_of(const void *data, size_t bytes, bool keep)
{
    grpc::Slice parts[2] = {
        grpc::Slice(head_of(bytes)),
        keep ? grpc::Slice(const_cast<void *>(data), bytes, [](void *) {})
             : grpc::Slice(data, bytes)};

    return grpc::ByteBuffer(parts, 2);
}

/* The field's bytes into `to`; false: it is not a message of that size. */
bool join(const grpc::ByteBuffer &message, uint8_t *to, size_t bytes)
{
    std::string head = head_of(bytes);
    std::vector<grpc::Slice> slices;
    size_t skip = head.size();
    size_t got = 0;

    if (message.Length() != head.size() + bytes || !message.Dump(&slices).ok())
        return false;
    for (const grpc::Slice &s : slices) {
        size_t past = skip < s.size() ? skip : s.size();

        skip -= past;
        memcpy(to + got, s.begin() + past, s.size() - past);
        got += s.size() - past;
    }
    return got == bytes;
}

int serve(const kerf_peer *peer)
{
    grpc::AsyncGenericService service;
    grpc::ServerBuilder builder;
    int port = 0;

    builder.SetMaxReceiveMessageSize(-1);
    builder.SetMaxSendMessageSize(-1);
    builder.AddChannelArgument(GRPC_ARG_MINIMAL_STACK, 1);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterAsyncGenericService(&service);
    std::unique_ptr<grpc::ServerCompletionQueue> queue =
        builder.AddCompletionQueue();
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (!server)
        return 1;

    grpc::GenericServerContext context;
    grpc::GenericServerAsyncReaderWriter stream(&context);
    grpc::ByteBuffer request;
    uint8_t *aligned = kerf_peer_memory(peer->bytes, 0);
    bool writing = false;
    int owed = 0; /* answers that wait for the one before */
    void *tag;
    bool ok;

    service.RequestCall(&context, &stream, queue.get(), queue.get(),
                        as_tag(kRequest));
    kerf_peer_ready(port);
    while (queue->Next(&tag, &ok)) {
        if (tag == as_tag(kRead) && !ok)
            continue; /* the client is done; wait to be ended */
        if (!ok)
            return 1;
        if (tag == as_tag(kRead)) {
            if (!join(request, aligned, peer->bytes))
                return 1;
            owed++;
        }
        if (tag == as_tag(kWrite))
            writing = false;
        if (owed > 0 && !writing) {
            uint8_t answer[KERF_PEER_ANSWER];

            kerf_peer_answer(answer, aligned, peer->bytes);
            writing = true;
            owed--;
            stream.Write(message_of(answer, sizeof answer, false),
                         as_tag(kWrite));
        }
        if (tag == as_tag(kRequest) || tag == as_tag(kRead))
            stream.Read(&request, as_tag(kRead));
    }
    return 1;
}

struct Client {
    size_t bytes;
    uint8_t *memory[KERF_PEER_WINDOW];
    grpc::CompletionQueue queue;
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
    grpc::ByteBuffer answer;
    bool writing = false;
    int answers = 0;

    /* The next event of the stream. */
    bool step()
    {
        uint8_t got[KERF_PEER_ANSWER];
        void *tag;
        bool ok;

        if (!queue.Next(&tag, &ok) || !ok)
            return false;
        if (tag == as_tag(kWrite)) {
            writing = false;
            return true;
        }
        if (tag == as_tag(kRead)) {
            if (!join(answer, got, sizeof got))
                return false;
            answers++;
        }
        stream->Read(&answer, as_tag(kRead));
        return true;
    }
};

bool send_tensor(void *ctx, unsigned slot)
{
    Client *c = static_cast<Client *>(ctx);

    while (c->writing) {
        if (!c->step())
            return false;
    }
    c->writing = true;
    c->stream->Write(message_of(c->memory[slot], c->bytes, true),
                     as_tag(kWrite));
    return true;
}

bool take_answer(void *ctx)
{
    Client *c = static_cast<Client *>(ctx);

    while (c->answers == 0) {
        if (!c->step())
            return false;
    }
    c->answers--;
    return true;
}

int ask(kerf_peer *peer)
{
    static const kerf_peer_ops ops = {nullptr, send_tensor, take_answer};
    grpc::ChannelArguments args;
    Client c;

    args.SetMaxReceiveMessageSize(-1);
    args.SetMaxSendMessageSize(-1);
    args.SetInt(GRPC_ARG_MINIMAL_STACK, 1);
    std::shared_ptr<grpc::Channel> channel = grpc::CreateCustomChannel(
        "127.0.0.1:" + std::to_string(peer->port),
        grpc::InsecureChannelCredentials(), args);
    grpc::GenericStub stub(channel);

    c.bytes = peer->bytes;
    for (unsigned i = 0; i < KERF_PEER_WINDOW; i++)
        c.memory[i] = kerf_peer_memory(peer->bytes, i);
    c.context.set_wait_for_ready(true);
    c.stream = stub.PrepareCall(&c.context, "/kerf.Bench/Tensors", &c.queue);
    c.stream->StartCall(as_tag(kStart));
    if (!c.step())
        return 1;
    int status = kerf_peer_drive(peer, &ops, &c);
    fflush(stdout);
    _exit(status); /* nothing is worth tearing down */
}

} // namespace

int main(int argc, char **argv)
{
    kerf_peer peer;

    if (!kerf_peer_parse(&peer, argc, argv))
        return 2;
    return peer.is_server ? serve(&peer) : ask(&peer);
}

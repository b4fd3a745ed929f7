/* placeholder until the folder has its first source */
typedef int kerf_proto_placeholder;

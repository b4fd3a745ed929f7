#include "base/few.h"

bool
kerf_few_may(kerf_few *few, uint64_t now_ns)
{
    if (few->said == 0 || now_ns - few->since_ns > KERF_FEW_NS) {
        few->since_ns = now_ns;
        few->said = 0;
    }
    if (few->said < KERF_FEW_MOST) {
        few->said++;
        return true;
    }
    few->left_out++;
    return false;
}

uint64_t
kerf_few_left_out(kerf_few *few, uint64_t now_ns, bool end)
{
    uint64_t count = few->left_out;

    if (!end && now_ns - few->since_ns <= KERF_FEW_NS)
        return 0;
    few->left_out = 0;
    return count;
}

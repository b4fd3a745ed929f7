/* What an image file says of itself is read before anything checks it. */
#include "source/image_head.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_image_head head;
    kerf_detail why;

    if (kerf_image_head_read(&head, data, size, &why) == KERF_OK &&
        (head.orientation < 1 || head.orientation > 8 ||
         (uint64_t)head.width * head.height > KERF_IMAGE_PIXELS_MAX))
        abort();
    return 0;
}

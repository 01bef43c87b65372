/* Code of somebody's own inside of another program: reads a file before that one begins. */
#include "reader.h"

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("FILE_TO_READ");
    if (file)
        say_file("injected", file);
}

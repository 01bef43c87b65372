/* Opens and reads a file through an io_uring, by bare system calls:
 *   ring inline|async|sqpoll FILE          as this process
 *   ring inline|async|sqpoll FILE UID      as a child of this uid that has inherited the ring */
#include "reader.h"
#include "ring.h"
#include <sys/wait.h>

/* A thread of the kernel's reads into the memory of whose ring it is. */
static char *bytes;

static void read_by_ring(const char *file) {
    struct io_uring_sqe open_it = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (unsigned long)file};
    int fd = submit(open_it);
    if (fd < 0) {
        say("ring", fd, "");
        return;
    }
    struct io_uring_sqe read_it = {.opcode = IORING_OP_READ, .fd = fd, .addr = (unsigned long)bytes, .len = 4096};
    say("ring", submit(read_it), bytes);
}

int main(int count, char **args) {
    if (count < 3)
        return 2;
    flags = strcmp(args[1], "async") ? 0 : IOSQE_ASYNC;
    bytes = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    set_up(!strcmp(args[1], "sqpoll"));
    pid_t child = count > 3 ? fork() : 0;
    if (child)
        return waitpid(child, NULL, 0) != child;
    if (count > 3)
        become(args[3]);
    read_by_ring(args[2]);
    return 0;
}

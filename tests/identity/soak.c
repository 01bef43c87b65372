/* Reads one file in every way that the kernel knows, over and over, and compares:
 *   soak FILE SECONDS READS EXPECTED...
 * EXPECTED are files with the contents that are right. Prints how many reads there were, how many
 * gave something else, and how many failed. */
#include "reader.h"
#include "ring.h"
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>

#define MOST 65536

static char got[MOST], expected[4][MOST];
static ssize_t sizes[4];
static int pipes[2];

static ssize_t drain(ssize_t count) {
    ssize_t all = 0;
    while (all < count) {
        ssize_t part = read(pipes[0], got + all, (size_t)(count - all));
        if (part <= 0)
            return -EIO;
        all += part;
    }
    return all;
}

/* Written from the mapping, so that a page that is refused is an errno and no signal. */
static ssize_t by_map(int fd, int kind) {
    struct stat stat;
    if (fstat(fd, &stat) || !stat.st_size)
        return -EIO;
    void *map = mmap(0, (size_t)stat.st_size, PROT_READ, kind, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    ssize_t count = write(pipes[1], map, (size_t)stat.st_size);
    count = count < 0 ? -errno : drain(count);
    munmap(map, (size_t)stat.st_size);
    return count;
}

static ssize_t whole(ssize_t (*part)(int, off_t), int fd) {
    ssize_t all = 0, count;
    while ((count = part(fd, all)) > 0)
        all += count;
    return count < 0 ? -errno : all;
}

static ssize_t by_pread(int fd, off_t at) {
    return pread(fd, got + at, 4096, at);
}

static ssize_t by_read(int fd, off_t at) {
    return read(fd, got + at, MOST - (size_t)at);
}

static ssize_t by_sendfile(int fd) {
    ssize_t count = sendfile(pipes[1], fd, NULL, MOST);
    return count < 0 ? -errno : drain(count);
}

static ssize_t by_splice(int fd) {
    ssize_t all = 0, count;
    while ((count = splice(fd, NULL, pipes[1], NULL, MOST, 0)) > 0)
        all += count;
    int error = count < 0 ? errno : 0;
    count = drain(all);
    return error ? -error : count;
}

static ssize_t by_ring(int fd, int how) {
    struct io_uring_sqe entry = {.opcode = IORING_OP_READ, .fd = fd, .addr = (unsigned long)got, .len = MOST};
    flags = how;
    return submit(entry);
}

static ssize_t get(int fd, long way) {
    switch (way % 8) {
    case 0:
        return whole(by_read, fd);
    case 1:
        return whole(by_pread, fd);
    case 2:
        return by_map(fd, MAP_PRIVATE);
    case 3:
        return by_map(fd, MAP_SHARED);
    case 4:
        return by_sendfile(fd);
    case 5:
        return by_splice(fd);
    case 6:
        return by_ring(fd, 0);
    default:
        return by_ring(fd, IOSQE_ASYNC);
    }
}

int main(int count, char **args) {
    if (count < 5 || count > 8 || pipe(pipes))
        return 2;
    fcntl(pipes[0], F_SETPIPE_SZ, MOST * 2);
    set_up(0);
    for (int i = 4; i < count; i++) {
        int fd = open(args[i], O_RDONLY);
        sizes[i - 4] = read(fd, expected[i - 4], MOST);
        close(fd);
    }
    time_t end = time(NULL) + atol(args[2]);
    long reads = 0, foreign = 0, failed = 0, most = atol(args[3]);
    for (; time(NULL) < end && reads < most; reads++) {
        int fd = open(args[1], O_RDONLY);
        ssize_t size = fd < 0 ? -errno : get(fd, reads);
        int is_right = size < 0, is_whole = 0;
        for (int i = 4; i < count && size >= 0; i++) {
            int is_this = size <= sizes[i - 4] && !memcmp(got, expected[i - 4], (size_t)size);
            is_right |= is_this, is_whole |= is_this && size == sizes[i - 4];
        }
        /* Who is cut off in the middle has the beginning of what was right. */
        failed += !is_whole, foreign += !is_right;
        if (fd >= 0)
            close(fd);
    }
    printf("%ld %ld %ld\n", reads, foreign, failed);
    return 0;
}

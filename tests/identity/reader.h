/* What a reader says of what it got: one line, the content or the errno. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(const char *who, long count, const char *bytes) {
    if (count < 0)
        dprintf(1, "%s: errno %s\n", who, strerrorname_np((int)-count));
    else
        dprintf(1, "%s: %.*s\n", who, (int)count, bytes);
}

static void say_fd(const char *who, int fd) {
    char bytes[4096];
    ssize_t count = pread(fd, bytes, sizeof bytes, 0);
    say(who, count < 0 ? -errno : count, bytes);
}

__attribute__((unused)) static void say_file(const char *who, const char *file) {
    int fd = open(file, O_RDONLY);
    if (fd < 0)
        say(who, -errno, "");
    else {
        say_fd(who, fd);
        close(fd);
    }
}

/* Of this thread alone, as the kernel sees it; libc would do it for all of them. */
__attribute__((unused)) static void become(const char *id) {
    int uid = atoi(id);
    syscall(SYS_setgroups, 0, NULL);
    if (syscall(SYS_setresgid, uid, uid, uid) || syscall(SYS_setresuid, uid, uid, uid))
        perror("become"), exit(3);
}

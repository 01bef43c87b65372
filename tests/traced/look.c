/* What this user gets of another process: a line for each way in, `NAME open` or `NAME closed`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *pid;

static int reads(const char *name) {
    char path[64], byte;
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    int file = open(path, O_RDONLY);
    return file >= 0 && read(file, &byte, 1) >= 0;
}

static int opens(const char *name, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    return open(path, flags) >= 0;
}

static int lists(const char *name) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, name);
    return readlink(path, target, sizeof target) >= 0;
}

static int traces(void) {
    long number = atol(pid);
    if (ptrace(PTRACE_SEIZE, number, 0, 0)) return 0;
    ptrace(PTRACE_DETACH, number, 0, 0);
    return 1;
}

static int copies(void) {
    char byte;
    /* A wrong address is EFAULT, but only for who may ask. */
    struct iovec ours = {&byte, 1}, theirs = {(void *)4096, 1};
    process_vm_readv(atol(pid), &ours, 1, &theirs, 1, 0);
    extern int *__errno_location(void);
    return *__errno_location() != 1;
}

static void say(const char *name, int is_open) { printf("%s %s\n", name, is_open ? "open" : "closed"); }

int main(int count, char **words) {
    pid = words[1];
    say("environ", reads("environ"));
    say("mem", opens("mem", O_RDWR));
    say("maps", reads("maps"));
    say("exe", lists("exe"));
    say("root", lists("root"));
    say("ptrace", traces());
    say("process_vm_readv", copies());
    return count != 2;
}

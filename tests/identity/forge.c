/* Lets /proc/PID/exe of this process name another program, and then reads a file:
 *   forge PROGRAM FILE [shared]
 * In a user namespace of its own a process may say that it runs PROGRAM, as soon as nothing of
 * what it really runs is mapped. So the last steps run from a copy in nameless memory. With
 * `shared` a child that has the same memory says so in a namespace of its own, and ends. */
#include "reader.h"
#include <linux/prctl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

struct plan {
    struct { unsigned long from, length; } mapped[32];
    long mappings, is_shared;
    struct prctl_mm_map map;
    char file[512], bytes[4096];
    char prefix[8], failed[24];
};

static inline __attribute__((always_inline)) long call(long number, long a, long b, long c, long d, long e) {
    long answer;
    register long four __asm__("r10") = d;
    register long five __asm__("r8") = e;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(four), "r"(five) : "rcx", "r11", "memory");
    return answer;
}

__attribute__((section("copied"), used)) void finish(struct plan *plan) {
    for (long i = 0; i < plan->mappings; i++)
        call(SYS_munmap, (long)plan->mapped[i].from, (long)plan->mapped[i].length, 0, 0, 0);
    /* Who forks so waits until the child has ended. */
    long flags = CLONE_VM | CLONE_VFORK | CLONE_NEWUSER | SIGCHLD;
    long child = plan->is_shared ? call(SYS_clone, flags, 0, 0, 0, 0) : 0;
    if (child <= 0 && (child || call(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, (long)&plan->map, sizeof plan->map, 0))) {
        call(SYS_write, 1, (long)plan->failed, 14, 0, 0);
        call(SYS_exit_group, 3, 0, 0, 0, 0);
    }
    if (!child && plan->is_shared)
        call(SYS_exit, 0, 0, 0, 0, 0);
    long fd = call(SYS_open, (long)plan->file, O_RDONLY, 0, 0, 0);
    long count = fd < 0 ? fd : call(SYS_read, fd, (long)plan->bytes, sizeof plan->bytes, 0, 0);
    call(SYS_write, 1, (long)plan->prefix, 6, 0, 0);
    if (count >= 0)
        call(SYS_write, 1, (long)plan->bytes, count, 0, 0);
    /* The test looks at what the process pretends to be. */
    call(SYS_write, 1, (long)(plan->prefix + 6), 1, 0, 0);
    call(SYS_read, 0, (long)plan->bytes, 1, 0, 0);
    call(SYS_exit_group, count < 0 ? -count : 0, 0, 0, 0, 0);
}

extern char __start_copied[], __stop_copied[];

int main(int count, char **args) {
    int is_shared = count == 4 && !strcmp(args[3], "shared");
    if (count != 3 + is_shared || (!is_shared && unshare(CLONE_NEWUSER)))
        return perror("unshare"), 3;
    struct plan *plan = mmap(0, sizeof *plan, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, __start_copied, (size_t)(__stop_copied - __start_copied));
    plan->is_shared = is_shared;
    strcpy(plan->file, args[2]), strcpy(plan->prefix, "read: \n"), strcpy(plan->failed, "cannot forge!\n");
    unsigned long here = (unsigned long)plan, end = here + 4096;
    plan->map = (struct prctl_mm_map){.start_code = here, .end_code = end, .start_data = here, .end_data = end,
        .start_brk = end, .brk = end, .start_stack = here, .arg_start = here, .arg_end = here, .env_start = here,
        .env_end = here, .exe_fd = (unsigned)open(args[1], O_RDONLY)};
    char own[512], line[1024];
    own[readlink("/proc/self/exe", own, sizeof own - 1)] = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (strstr(line, own) && sscanf(line, "%lx-%lx", &from, &to) == 2) {
            plan->mapped[plan->mappings].from = from;
            plan->mapped[plan->mappings++].length = to - from;
        }
    }
    ((void (*)(struct plan *))code)(plan);
    return 3;
}

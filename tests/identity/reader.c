/* Reads a file in ways that could make it look like another process. */
#include "reader.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static const char *file, *uid;
static int shared;

static void await(pid_t child) {
    int status;
    while (child && waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
}

/* A page that cannot be had is a signal for who touches it, but an errno for who has it written. */
static void say_memory(const char *who, void *map, size_t size) {
    int pipes[2];
    char bytes[4096];
    ssize_t count = map == MAP_FAILED || pipe(pipes) ? -1 : write(pipes[1], map, size);
    if (count > 0)
        count = read(pipes[0], bytes, sizeof bytes);
    say(who, count < 0 ? -errno : count, bytes);
    close(pipes[0]), close(pipes[1]);
}

static void *map_of(int fd, size_t *size) {
    struct stat stat;
    fstat(fd, &stat);
    *size = (size_t)stat.st_size;
    return mmap(NULL, *size, PROT_READ, MAP_SHARED, fd, 0);
}

static void say_mapped(int fd) {
    size_t size;
    void *map = map_of(fd, &size);
    say_memory("mapped", map, size);
}

static void keep_mapped(void) {
    char line[64];
    size_t size;
    void *map = map_of(open(file, O_RDONLY), &size);
    say_memory("kept", map, size);
    while (fgets(line, sizeof line, stdin))
        say_memory("kept", map, size);
}

/* Sends a descriptor to a process of another uid, which also inherits one. */
static void hand_on(void) {
    int pair[2], fd = open(file, O_RDONLY);
    if (fd < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
        perror(file), exit(3);
    char byte = 0, room[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    pid_t child = fork();
    if (!child) {
        become(uid);
        recvmsg(pair[1], &message, 0);
        say_fd("sent", *(int *)CMSG_DATA(CMSG_FIRSTHDR(&message)));
        say_fd("inherited", fd);
        say_mapped(fd);
        _exit(0);
    }
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS, head->cmsg_len = CMSG_LEN(sizeof(int));
    *(int *)CMSG_DATA(head) = fd;
    sendmsg(pair[0], &message, 0);
    await(child);
    say_fd("own", fd);
}

static void *as_other(void *unused) {
    become(uid);
    say_file("thread", file);
    say_fd("thread on the other's", shared);
    return unused;
}

/* Two threads of one process, with one table of descriptors and credentials of their own. */
static void threads(void) {
    pthread_t thread;
    shared = open(file, O_RDONLY);
    pthread_create(&thread, NULL, as_other, NULL);
    pthread_join(thread, NULL);
    say_file("main", file);
    pid_t child = vfork();
    if (!child) {
        become(uid);
        say_file("vforked", file);
        _exit(0);
    }
    await(child);
}

static void *after_the_leader(void *unused) {
    usleep(300000);
    say_file("thread", file);
    _exit(0);
    return unused;
}

static void without_leader(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, after_the_leader, NULL);
    syscall(SYS_exit, 0);
}

static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void *reads(void *unused) {
    say_file("thread", file);
    return unused;
}

/* Another thread runs another program while the first one waits for its file. */
static void run_meanwhile(char *own) {
    pthread_t thread;
    char began[32];
    pthread_create(&thread, NULL, reads, NULL);
    usleep(300000);
    snprintf(began, sizeof began, "%ld", milliseconds());
    char *args[] = {own, "since", began, NULL};
    execv(own, args);
}

static void traced(void) {
    pid_t child = fork();
    if (!child) {
        say_file("before", file);
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        say_file("traced", file);
        _exit(0);
    }
    await(child);
}

/* Kills who waits for its file, and starts processes until that one has ended, and on:
 * how long that took, how many of them had its number before, how often the numbers came past it
 * before, how many had it later. */
static void storm(const char *own) {
    pid_t victim = 0;
    /* The lowest numbers are given once. */
    while (victim < 310) {
        await(victim);
        victim = fork();
        if (!victim && getpid() < 310)
            _exit(0);
        if (!victim)
            break;
    }
    if (!victim) {
        execl(own, own, "read", file, NULL);
        _exit(3);
    }
    usleep(300000);
    kill(victim, SIGKILL);
    long began = milliseconds(), waited = -1, before = 0, past = 0, later = 0;
    pid_t last = victim;
    for (long rest = 2000; rest > 0;) {
        pid_t child = fork();
        if (!child)
            _exit(0);
        if (waited < 0) {
            before += child == victim, past += last < victim && child > victim;
            if (waitpid(victim, NULL, WNOHANG) == victim)
                waited = milliseconds() - began;
        } else
            rest--, later += child == victim;
        last = child;
        await(child);
    }
    printf("%ld %ld %ld %ld\n", waited, before, past, later);
}

int main(int count, char **args) {
    const char *how = count > 1 ? args[1] : "";
    file = count > 2 ? args[2] : NULL;
    uid = count > 3 ? args[3] : NULL;
    if (!strcmp(how, "read"))
        say_file("read", file);
    else if (!strcmp(how, "fork")) {
        pid_t child = fork();
        say_file(child ? "parent" : "child", file);
        if (child)
            await(child);
    } else if (!strcmp(how, "as")) {
        become(uid);
        say_file("read", file);
    } else if (!strcmp(how, "exec")) {
        int fd = open(file, O_RDONLY);
        dup2(fd, 9);
        execv(args[3], args + 3);
    } else if (!strcmp(how, "nine"))
        say_fd("nine", 9);
    else if (!strcmp(how, "wait")) {
        char line[64];
        while (fgets(line, sizeof line, stdin))
            say_file("read", file);
    } else if (!strcmp(how, "keep")) {
        char line[64];
        int fd = open(file, O_RDONLY);
        say_fd("kept", fd);
        while (fgets(line, sizeof line, stdin))
            say_fd("kept", fd);
    } else if (!strcmp(how, "keep-mapped"))
        keep_mapped();
    else if (!strcmp(how, "since"))
        dprintf(1, "ran after %ld ms\n", milliseconds() - atol(args[2]));
    else if (!strcmp(how, "hand-on"))
        hand_on();
    else if (!strcmp(how, "threads"))
        threads();
    else if (!strcmp(how, "leader"))
        without_leader();
    else if (!strcmp(how, "sibling"))
        run_meanwhile(args[0]);
    else if (!strcmp(how, "storm"))
        storm("/proc/self/exe");
    else if (!strcmp(how, "traced"))
        traced();
    else
        return 2;
    return 0;
}

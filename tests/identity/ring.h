/* An io_uring by bare system calls: one entry at a time. */
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static struct io_uring_params params;
static char *submissions, *completions;
static struct io_uring_sqe *entries;
static int ring, flags;

#define AT(base, place) ((unsigned *)((base) + (place)))

static void set_up(int is_polled) {
    if (is_polled)
        params.flags = IORING_SETUP_SQPOLL, params.sq_thread_idle = 2000;
    ring = (int)syscall(SYS_io_uring_setup, 4, &params);
    if (ring < 0)
        perror("io_uring_setup"), exit(3);
    int kind = PROT_READ | PROT_WRITE, share = MAP_SHARED | MAP_POPULATE;
    submissions = mmap(0, params.sq_off.array + params.sq_entries * sizeof(unsigned), kind, share, ring, IORING_OFF_SQ_RING);
    completions = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), kind, share, ring, IORING_OFF_CQ_RING);
    entries = mmap(0, params.sq_entries * sizeof *entries, kind, share, ring, IORING_OFF_SQES);
}

static int submit(struct io_uring_sqe entry) {
    unsigned *tail = AT(submissions, params.sq_off.tail), mask = *AT(submissions, params.sq_off.ring_mask);
    unsigned place = *tail & mask;
    entry.flags = (unsigned char)flags;
    entries[place] = entry;
    AT(submissions, params.sq_off.array)[place] = place;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    unsigned enter = IORING_ENTER_GETEVENTS;
    if (params.flags & IORING_SETUP_SQPOLL)
        enter |= IORING_ENTER_SQ_WAKEUP;
    if (syscall(SYS_io_uring_enter, ring, params.flags & IORING_SETUP_SQPOLL ? 0 : 1, 1, enter, NULL, 0) < 0)
        return -errno;
    unsigned *head = AT(completions, params.cq_off.head);
    struct io_uring_cqe *all = (struct io_uring_cqe *)(completions + params.cq_off.cqes);
    int result = all[*head & *AT(completions, params.cq_off.ring_mask)].res;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return result;
}

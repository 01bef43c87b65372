/* Many threads of a user in many groups open one file, over and over:
 *   crowd FILE UID GROUPS THREADS TIMES
 * Prints how many opens there were, and how many failed. */
#include "reader.h"
#include <grp.h>
#include <pthread.h>

static const char *file;
static int times;
static _Atomic int opened, failed;

static void *open_often(void *nothing) {
    for (int i = 0; i < times; i++) {
        int fd = open(file, O_RDONLY);
        if (fd < 0) {
            failed++;
            continue;
        }
        opened++;
        close(fd);
    }
    return nothing;
}

int main(int count, char **args) {
    if (count != 6)
        return 2;
    file = args[1], times = atoi(args[5]);
    int uid = atoi(args[2]), groups = atoi(args[3]), many = atoi(args[4]);
    gid_t list[65536];
    for (int i = 0; i < groups; i++)
        list[i] = (gid_t)(200000 + i);
    if (setgroups((size_t)groups, list) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))
        return perror("become"), 3;
    pthread_t threads[256];
    for (int i = 0; i < many; i++)
        pthread_create(&threads[i], NULL, open_often, NULL);
    for (int i = 0; i < many; i++)
        pthread_join(threads[i], NULL);
    dprintf(1, "opened %d, failed %d\n", opened, failed);
    return 0;
}

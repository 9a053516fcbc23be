/* Preloaded into a function's process: the monotonic clock stands still while the
   process is frozen. The total of all freezes, in nanoseconds, is in the file that
   FROZEN_CLOCK names; the fake adds to it before each thaw.

   Source: Lambda suspends the whole virtual machine, and CLOCK_MONOTONIC with it.
   Seen on AWS: https://github.com/mbeher2200/DarkHours/pull/204,
   https://github.com/hashicorp/vault-lambda-extension/pull/150 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const int64_t *frozen;

__attribute__((constructor)) static void map_frozen(void) {
    const char *path = getenv("FROZEN_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *frozen, PROT_READ, MAP_SHARED, file, 0);
    frozen = page == MAP_FAILED ? NULL : page;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && clock == CLOCK_MONOTONIC && frozen) {
        int64_t now = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec - *frozen;
        time->tv_sec = now / 1000000000;
        time->tv_nsec = now % 1000000000;
    }
    return (int)result;
}

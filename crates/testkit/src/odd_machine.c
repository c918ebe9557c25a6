/* Loaded before the C library: a machine whose disk is slow and whose wall clock jumps. What it is like stands in the file that
 * ODD_MACHINE names, three 64-bit numbers: ms that a sync takes longer, seconds that the clock is ahead; and, counted here, how
 * often either was felt. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct machine {
    _Atomic int64_t sync_ms, ahead_s, felt;
};

static struct machine *machine;
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("ODD_MACHINE"), O_RDWR);
    void *mapped = mmap(NULL, sizeof *machine, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || mapped == MAP_FAILED || !real_fsync || !real_fdatasync || !real_clock_gettime)
        abort();
    machine = mapped;
}

static void drag(void) {
    int64_t ms = machine->sync_ms;
    if (ms == 0)
        return;
    machine->felt++;
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

int fsync(int file) {
    drag();
    return real_fsync(file);
}

int fdatasync(int file) {
    drag();
    return real_fdatasync(file);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    if (!machine) {
        if (!real_clock_gettime)
            real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
        return real_clock_gettime(id, now);
    }
    int result = real_clock_gettime(id, now);
    int64_t ahead = machine->ahead_s;
    if (result == 0 && id == CLOCK_REALTIME && ahead != 0) {
        machine->felt++;
        now->tv_sec += ahead;
    }
    return result;
}

#define _GNU_SOURCE
#include "files.h"
#include <errno.h>
#include <fcntl.h>

int resq_reserve(int fd, int64_t count) {
#ifdef __linux__
    // Not posix_fallocate: where the file system has no support it writes to every block instead.
    int result;
    do {
        result = fallocate(fd, 0, 0, count);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
#else
    (void)fd, (void)count;
    return EOPNOTSUPP;
#endif
}

void resq_start_writeback(int fd, int64_t offset, int64_t count) {
#ifdef __linux__
    (void)sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE);
#else
    (void)fd, (void)offset, (void)count;
#endif
}

#pragma once
#include <stdint.h>

// Two calls of the Linux kernel that the C library hides from Swift. On other systems they do nothing.

/// Reserves disk blocks for the first `count` bytes and makes the file that long.
/// Returns 0, or an errno; EOPNOTSUPP where the file system cannot (then the file is unchanged).
int resq_reserve(int fd, int64_t count);

/// Starts writing the dirty pages of a range to the disk and does not wait. A hint: failures do not matter.
void resq_start_writeback(int fd, int64_t offset, int64_t count);

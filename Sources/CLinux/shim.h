/* Calls of Linux that the C library's headers show only to programs that define _GNU_SOURCE, which a module cannot. */
#ifndef RESQ_CLINUX_SHIM_H
#define RESQ_CLINUX_SHIM_H

#ifdef __linux__

/* Memory with a descriptor and without a name. */
extern int memfd_create(const char *name, unsigned int flags);

/* Flags of memfd_create. */
enum { RESQ_MFD_CLOEXEC = 1, RESQ_MFD_ALLOW_SEALING = 2 };

/* Commands of fcntl. */
enum { RESQ_F_SETPIPE_SZ = 1031, RESQ_F_ADD_SEALS = 1033 };

/* What F_ADD_SEALS forbids: further seals, and another size. */
enum { RESQ_F_SEAL_SEAL = 1, RESQ_F_SEAL_SHRINK = 2, RESQ_F_SEAL_GROW = 4 };

#endif

#endif

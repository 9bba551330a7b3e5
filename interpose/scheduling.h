// Ids of threads in calls to the kernel, which never sees a fiber's.
#pragma once

#include <sys/types.h>

namespace pfiber::interpose {

// What a thread id means to the kernel: 0 and the calling fiber's own are its worker, another
// fiber's the worker it is bound to, or the process when it is bound to none.  -1: no such thread.
int kernel_tid(pid_t tid);

}  // namespace pfiber::interpose

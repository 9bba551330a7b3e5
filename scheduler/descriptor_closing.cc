// What the close of a number does to those who wait for it, and to what is known of it.
#include "scheduler/io_waiters.h"
#include "scheduler/runtime_descriptors.h"

namespace pfiber {

namespace {

// One reference less; closes the number with the last one.  It stays hidden until it is closed, and
// may be another private duplicate's right afterwards.
void release_private(int fd, Descriptor* descriptor) {
    descriptor->private_closing.fetch_add(1);
    if (descriptor->private_references.fetch_sub(1) == 1) {
        descriptor_closing(fd);
        host::raw_close(fd);
    }
    descriptor->private_closing.fetch_sub(1);
}

}  // namespace

void descriptor_closing(int fd) {
    Descriptor* descriptor = descriptor_if_known(fd);
    if (descriptor == nullptr) return;
    Fiber* woken = nullptr;
    Fiber** tail = &woken;
    {
        LockGuard guard(descriptor->lock);
        int duplicate = -1;
        if (descriptor->waiters != nullptr) {
            Descriptor* copy = nullptr;
            // One reference is ours until all are told: a woken waiter may be done at once.
            duplicate = duplicate_private(fd, &copy);
            while (IoWaiter* waiter = descriptor->waiters) {
                Fiber* fiber = waiter->who.fiber;
                const uint32_t sequence = waiter->who.sequence;
                const int old_fd = waiter->fd;
                if (copy != nullptr) {
                    waiter->fd = duplicate;
                    copy->private_references.fetch_add(1);
                }
                unlink_keeping_link(descriptor, waiter);
                const auto claim = fiber->park.claim(sequence, Wake::kClosed);
                if (claim == ParkWord<Platform>::Claim::kFailed) {
                    // It ends for another reason and waits in unlink_all() for our lock.
                    if (copy != nullptr) copy->private_references.fetch_sub(1);
                    waiter->fd = old_fd;
                }
                waiter->descriptor.store(nullptr, std::memory_order_release);
                if (claim == ParkWord<Platform>::Claim::kMustReady && fiber->runs_beside) {
                    ready(fiber, true);
                } else if (claim == ParkWord<Platform>::Claim::kMustReady) {
                    fiber->queue_next = nullptr;
                    *tail = fiber;
                    tail = &fiber->queue_next;
                }
            }
            if (copy != nullptr)
                release_private(duplicate, copy);
            else if (duplicate >= 0)
                host::raw_close(duplicate);
        }
        // A description that lives on elsewhere would keep its registration and send stale events.
        if (descriptor->poller != 0 && (descriptor->is_shared || duplicate >= 0))
            host::raw_syscall(SYS_epoll_ctl, poller_of(descriptor).epoll_fd, EPOLL_CTL_DEL, fd,
                              nullptr);
        descriptor->tag.fetch_add(1);
        if (descriptor->poller != 0)
            poller_of(descriptor).registered.fetch_sub(1, std::memory_order_relaxed);
        descriptor->poller = 0;
        descriptor->waits_elsewhere = 0;
        descriptor->is_unpollable = descriptor->is_shared = false;
        descriptor->made_here = descriptor->has_timeouts = false;
        descriptor->kind.store(DescriptorKind::kUnknown);
        descriptor->short_reads.store(ShortReads::kUnproved);
        descriptor->ready.store(0);
        descriptor->no_nowait = descriptor->device = 0;
        descriptor->socket_type = descriptor->socket_family = 0;
        descriptor->is_listener = descriptor->is_blocking = descriptor->has_hung_up = false;
        descriptor->thread_entry = 0;
    }
    ready_list(woken);
}

void io_release_private(int fd) {
    Descriptor* descriptor = descriptor_if_known(fd);
    if (descriptor != nullptr) release_private(fd, descriptor);
}

}  // namespace pfiber

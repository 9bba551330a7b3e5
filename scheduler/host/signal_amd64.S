// The restorer of our handlers and the blocking-call stub (signal.h).

// Unwinders recognise a signal frame by these two instructions.
    .section pfiber_signal_text,"ax",@progbits
    .globl  pfiber_restore_rt
    .hidden pfiber_restore_rt
    .type   pfiber_restore_rt, @function
    nop
pfiber_restore_rt:
    movq    $15, %rax               // SYS_rt_sigreturn
    syscall
    .size   pfiber_restore_rt, .-pfiber_restore_rt

// void pfiber_enter_on_frame(frame, then, argument, info, context)
// As the kernel enters a handler: the restorer's address is on top of the stack.
    .globl  pfiber_enter_on_frame
    .hidden pfiber_enter_on_frame
    .type   pfiber_enter_on_frame, @function
pfiber_enter_on_frame:
    movq    %rdi, %rsp
    movq    %rsi, %rax
    movl    %edx, %edi
    movq    %rcx, %rsi
    movq    %r8, %rdx
    jmp     *%rax
    .size   pfiber_enter_on_frame, .-pfiber_enter_on_frame

    .text
// long pfiber_blocking_syscall(attention, mask, number, arguments)
// Nothing is pushed, so that the interrupted exit can be entered from every instruction.
    .globl  pfiber_blocking_syscall
    .hidden pfiber_blocking_syscall
    .type   pfiber_blocking_syscall, @function
    .globl  pfiber_blocking_begin, pfiber_blocking_end, pfiber_blocking_interrupted
    .hidden pfiber_blocking_begin, pfiber_blocking_end, pfiber_blocking_interrupted
pfiber_blocking_syscall:
    .cfi_startproc
pfiber_blocking_begin:
    testl   %esi, (%rdi)
    jnz     pfiber_blocking_interrupted
    movq    %rdx, %rax
    movq    %rcx, %r11
    movq    0(%r11), %rdi
    movq    8(%r11), %rsi
    movq    16(%r11), %rdx
    movq    24(%r11), %r10
    movq    32(%r11), %r8
    movq    40(%r11), %r9
    syscall
pfiber_blocking_end:
    ret
pfiber_blocking_interrupted:
    movq    $-4, %rax               // -EINTR
    ret
    .cfi_endproc
    .size   pfiber_blocking_syscall, .-pfiber_blocking_syscall

// long pfiber_execute(mask, number, arguments)
// Nothing is pushed, as above.  Signals that wait for the mask to open come with the first
// instruction that is guarded.
    .globl  pfiber_execute
    .hidden pfiber_execute
    .type   pfiber_execute, @function
    .globl  pfiber_execute_begin, pfiber_execute_end, pfiber_execute_interrupted
    .hidden pfiber_execute_begin, pfiber_execute_end, pfiber_execute_interrupted
pfiber_execute:
    .cfi_startproc
    movq    %rsi, %r8
    movq    %rdx, %r9
    movq    %rdi, %rsi
    movl    $2, %edi                // SIG_SETMASK
    xorl    %edx, %edx
    movl    $8, %r10d
    movl    $14, %eax               // SYS_rt_sigprocmask
    syscall
pfiber_execute_begin:
    movq    %r8, %rax
    movq    0(%r9), %rdi
    movq    8(%r9), %rsi
    movq    16(%r9), %rdx
    movq    24(%r9), %r10
    movq    32(%r9), %r8
    syscall
pfiber_execute_end:
    ret
pfiber_execute_interrupted:
    movq    $-4, %rax               // -EINTR
    ret
    .cfi_endproc
    .size   pfiber_execute, .-pfiber_execute

// int pfiber_touch_read(address), int pfiber_touch_write(address) (touch.h).
    .globl  pfiber_touch_read, pfiber_touch_write, pfiber_touch_failed
    .hidden pfiber_touch_read, pfiber_touch_write, pfiber_touch_failed
    .type   pfiber_touch_read, @function
    .type   pfiber_touch_write, @function
pfiber_touch_read:
    .cfi_startproc
    movb    (%rdi), %al
    xorl    %eax, %eax
    ret
    .cfi_endproc
    .size   pfiber_touch_read, .-pfiber_touch_read
pfiber_touch_write:
    .cfi_startproc
    lock orb $0, (%rdi)
    xorl    %eax, %eax
    ret
pfiber_touch_failed:
    movl    $1, %eax
    ret
    .cfi_endproc
    .size   pfiber_touch_write, .-pfiber_touch_write
    .section .note.GNU-stack,"",@progbits

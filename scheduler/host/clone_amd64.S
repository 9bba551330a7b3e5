// long pfiber_clone(flags, stack_top, parent_tid, child_tid, tp, entry, argument)
// clone(2) for a thread: the child starts on its own stack in entry(argument) with a zero frame
// pointer and return address, so that unwinders stop there.
    .text
    .globl  pfiber_clone
    .hidden pfiber_clone
    .type   pfiber_clone, @function
pfiber_clone:
    .cfi_startproc
    movq    8(%rsp), %rax           // argument
    andq    $-16, %rsi
    subq    $16, %rsi
    movq    %rax, 8(%rsi)
    movq    %r9, 0(%rsi)            // entry
    movq    %rcx, %r10              // child_tid
    movl    $56, %eax               // SYS_clone
    syscall
    testq   %rax, %rax
    jz      1f
    ret
1:
    .cfi_undefined rip
    xorl    %ebp, %ebp
    popq    %rax
    popq    %rdi
    pushq   $0
    pushq   $0
    callq   *%rax
    hlt
    .cfi_endproc
    .size   pfiber_clone, .-pfiber_clone
    .section .note.GNU-stack,"",@progbits

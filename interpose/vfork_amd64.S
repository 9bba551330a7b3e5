// pid_t vfork(): the child runs on the parent's stack and identity until it executes or exits.  While
// it does, the calling fiber is nobody (t_current null), so every hook in the child is a bare system
// call; the parent's kernel thread sleeps in the call and puts the fiber back when it returns.  The
// child has the thread's own mask; no signal comes while mask and fiber do not belong together.
// The return address leaves the stack first: the child's return would overwrite it.
    .text
    .globl  pf_vfork
    .hidden pf_vfork
    .type   pf_vfork, @function
pf_vfork:
    .cfi_startproc
    subq    $8, %rsp
    .cfi_adjust_cfa_offset 8
    call    pfiber_before_vfork
    addq    $8, %rsp
    .cfi_adjust_cfa_offset -8
    movq    _ZN6pfiber9t_currentE@gottpoff(%rip), %rcx
    movq    %fs:(%rcx), %r8             // the fiber, or null
    movq    $0, %fs:(%rcx)
    movq    %rdx, %r9                   // its worker's mask
    testq   %r8, %r8
    jz      1f
    movq    %rax, %rsi                  // its own
    call    set_mask
1:  popq    %rdi
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    movl    $58, %eax                   // SYS_vfork; keeps rdi, rsi, rdx, r8, r9
    syscall
    pushq   %rdi
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rip, 0
    testq   %rax, %rax
    jz      2f                          // the child stays nobody
    testq   %r8, %r8
    jz      3f
    pushq   %rax
    .cfi_adjust_cfa_offset 8
    leaq    every_signal(%rip), %rsi
    call    set_mask
    movq    _ZN6pfiber9t_currentE@gottpoff(%rip), %rcx
    movq    %r8, %fs:(%rcx)
    movq    %r9, %rsi
    call    set_mask
    popq    %rax
    .cfi_adjust_cfa_offset -8
3:  cmpq    $-4095, %rax
    jae     4f
2:  ret
4:  negl    %eax
    movl    %eax, %edi
    jmp     pfiber_set_errno            // returns -1
    .cfi_endproc
    .size   pf_vfork, .-pf_vfork

// *rsi becomes the kernel thread's mask; keeps r8 and r9.
    .type   set_mask, @function
set_mask:
    .cfi_startproc
    movl    $2, %edi                    // SIG_SETMASK
    xorl    %edx, %edx
    movl    $8, %r10d
    movl    $14, %eax                   // SYS_rt_sigprocmask
    syscall
    ret
    .cfi_endproc
    .size   set_mask, .-set_mask

    .section .rodata
    .balign 8
every_signal:
    .quad   -1

    .section .note.GNU-stack,"",@progbits

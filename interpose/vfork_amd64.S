// pid_t vfork(): the child runs on the parent's stack and identity until it executes or exits.  While
// it does, the calling fiber is nobody (t_current null), so every hook in the child is a bare system
// call; the parent's kernel thread sleeps in the call and puts the fiber back when it returns.
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
    popq    %rdi
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    movl    $58, %eax                   // SYS_vfork; keeps rdi, rsi, rdx, r8
    syscall
    pushq   %rdi
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rip, 0
    testq   %rax, %rax
    jz      1f                          // the child stays nobody
    movq    _ZN6pfiber9t_currentE@gottpoff(%rip), %rcx
    movq    %r8, %fs:(%rcx)
    cmpq    $-4095, %rax
    jae     2f
1:  ret
2:  negl    %eax
    movl    %eax, %edi
    jmp     pfiber_set_errno            // returns -1
    .cfi_endproc
    .size   pf_vfork, .-pf_vfork

    .section .note.GNU-stack,"",@progbits

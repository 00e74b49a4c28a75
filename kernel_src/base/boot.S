/* boot.S: tangled from nbs/base/01_boot.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/01_boot.ipynb § The header ---- */

/* base/boot.S: the first instructions after the boot loader.
 * Owns the Multiboot header, the stack and the GDT. Enters kernel_main in 32-bit
 * protected mode, interrupts off, flat segments, SSE (and AVX where there is any)
 * switched on. */
#include "base/multiboot.h"

#define HEADER_FLAGS (MULTIBOOT_PAGE_ALIGN | MULTIBOOT_MEMORY_INFO)

    .section .multiboot, "a"
    .balign 4
    .long MULTIBOOT_HEADER_MAGIC
    .long HEADER_FLAGS
    .long -(MULTIBOOT_HEADER_MAGIC + HEADER_FLAGS)

/* ---- nbs/base/01_boot.ipynb § A stack, and what lies beneath it ---- */

#include "base/stack.h"

    .section .bss.stack, "aw", @nobits
    .balign 4096
    .globl stack_guard, stack_bottom, stack_top
stack_guard:
    .skip STACK_GUARD
stack_bottom:
    .skip STACK_SIZE
stack_top:

/* ---- nbs/base/01_boot.ipynb § Segments ---- */

#include "base/gdt.h"

    .data
    .balign 8
    .globl gdt
gdt:
    .quad 0                             /* 0x00: never used */
    .quad 0x00cf9b000000ffff            /* KERNEL_CS: code, readable, 4 GiB */
    .quad 0x00cf93000000ffff            /* KERNEL_DS: data, writable, 4 GiB */
    .quad 0                             /* TSS_MAIN, TSS_FAULT: see traps.c */
    .quad 0
gdt_pointer:
    .word GDT_SIZE - 1
    .long gdt

    .globl boot_tsc, boot_xcr0
    .balign 8
boot_tsc:
    .quad 0
boot_xcr0:
    .long 0

/* ---- nbs/base/01_boot.ipynb § The first instructions ---- */

    .section .text.boot, "ax"
    .globl _start
    .type _start, @function
_start:
    cld
    mov %eax, %esi                      /* rdtsc and cpuid overwrite EAX and EBX */
    mov %ebx, %edi
    rdtsc
    mov %eax, boot_tsc
    mov %edx, boot_tsc + 4

    lgdt gdt_pointer
    ljmp $KERNEL_CS, $1f
1:  mov $KERNEL_DS, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov $stack_top, %esp
    push $0
    popf

    cmp $MULTIBOOT_BOOTLOADER_MAGIC, %esi
    mov $not_multiboot, %esi
    jne boot_refuse

/* ---- nbs/base/01_boot.ipynb § Floating point ---- */

    mov $1, %eax
    cpuid
    mov $no_sse2, %esi
    test $(1 << 26), %edx               /* CPUID.1:EDX.SSE2 */
    jz boot_refuse
    mov %cr0, %eax
    and $~((1 << 2) | (1 << 3)), %eax   /* EM, TS: no emulation, no lazy switching */
    or $((1 << 1) | (1 << 5)), %eax     /* MP, NE: x87 errors as exceptions */
    mov %eax, %cr0
    mov %cr4, %eax
    or $((1 << 9) | (1 << 10)), %eax    /* OSFXSR, OSXMMEXCPT: SSE and its exceptions */
    mov %eax, %cr4
    fninit

    test $(1 << 26), %ecx               /* CPUID.1:ECX.XSAVE */
    jz .Lenter
    or $(1 << 18), %eax                 /* OSXSAVE: XSETBV, XGETBV and AVX may be used */
    mov %eax, %cr4
    mov $0xd, %eax
    xor %ecx, %ecx
    cpuid                               /* EAX: the bits XCR0 may have */
    and $0xe7, %eax                     /* x87, SSE, AVX, AVX-512's three */
    mov %eax, boot_xcr0
    xor %edx, %edx
    xor %ecx, %ecx
    xsetbv

.Lenter:
    mov $STACK_CANARY, %eax
    mov %eax, stack_bottom
    mov %eax, stack_bottom + 4
    mov %eax, stack_bottom + 8
    mov %eax, stack_bottom + 12
    xor %ebp, %ebp                      /* the end of every backtrace */
    sub $12, %esp                     /* ESP is 16-byte aligned where the argument lies */
    push %edi
    call kernel_main
    .size _start, . - _start

/* ---- nbs/base/01_boot.ipynb § Refusing in plain view ---- */

/* Too early for anything else: the message in ESI goes straight to COM1 and to the
 * screen. */
    .type boot_refuse, @function
boot_refuse:
    mov $0xb8000, %edi
    mov $0x4f, %ah                      /* white on red */
3:  lodsb
    test %al, %al
    jz 4f
    mov $0x3f8, %dx
    out %al, %dx
    stosw
    jmp 3b
4:  mov $0x7d, %al                      /* KERNEL_EXIT_REFUSED */
    mov $0xf4, %dx
    out %al, %dx
5:  cli
    hlt
    jmp 5b
    .size boot_refuse, . - boot_refuse

    .section .rodata.boot, "a"
not_multiboot:
    .asciz "cllm: not started by a Multiboot loader\r\n"
no_sse2:
    .asciz "cllm: this CPU has no SSE2\r\n"
    .section .note.GNU-stack, "", @progbits

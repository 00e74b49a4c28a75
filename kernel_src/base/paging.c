/* paging.c: tangled from nbs/base/03_traps.ipynb. Edit the notebook, not this file. */

/* ---- nbs/base/03_traps.ipynb § A map with holes ---- */

/* base/paging.c: every address means itself, except where nothing should be (Intel SDM
 * volume 3, chapter 4.3). Large pages of 4 MiB; the few that hold a border are split into
 * small ones. Not mapped: page 0, for NULL, and the guard below the stack. Read-only:
 * code and constants. */
#include "base/io.h"
#include "base/kernel.h"
#include "base/panic.h"
#include "base/stack.h"
#include "base/stdio.h"
#include "base/traps.h"

#define PAGE_SIZE           4096u
#define PAGE_LARGE_SIZE     (4u << 20)
#define PAGING_TABLES_MAX   4   /* borders: NULL, end of constants, stack (perhaps two) */

enum { PAGE_PRESENT = 1, PAGE_WRITE = 2, PAGE_LARGE = 0x80 };
enum { CR0_WP = 1 << 16, CR4_PSE = 1 << 4 };
#define CR0_PG (1u << 31)

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t tables[PAGING_TABLES_MAX][1024] __attribute__((aligned(4096)));
static int n_tables;

/* The entry for `address` alone: splits its large page if it is still in one. */
static uint32_t *page_entry(uint32_t address)
{
    uint32_t *large = &directory[address / PAGE_LARGE_SIZE];
    if (*large & PAGE_LARGE) {
        KASSERT(n_tables < PAGING_TABLES_MAX);
        uint32_t *table = tables[n_tables++];
        for (uint32_t i = 0; i < 1024; i++)
            table[i] = (*large & ~(uint32_t)PAGE_LARGE) + i * PAGE_SIZE;
        *large = address_of(table) | PAGE_PRESENT | PAGE_WRITE;
    }
    return &((uint32_t *)(uintptr_t)(*large & ~0xfffu))[address / PAGE_SIZE % 1024];
}

static void page_clear(uint32_t start, uint32_t end, uint32_t bits)
{
    for (uint32_t at = start; end - at >= PAGE_SIZE;) {
        uint32_t *large = &directory[at / PAGE_LARGE_SIZE];
        bool whole = at % PAGE_LARGE_SIZE == 0 && end - at >= PAGE_LARGE_SIZE;
        if (whole && *large & PAGE_LARGE) {
            *large &= ~bits;
            at += PAGE_LARGE_SIZE;
        } else {
            *page_entry(at) &= ~bits;
            at += PAGE_SIZE;
        }
    }
}

static void paging_init(void)
{
    uint32_t guard = address_of(stack_guard), cr;
    for (uint32_t i = 0; i < 1024; i++)
        directory[i] = i * PAGE_LARGE_SIZE | PAGE_LARGE | PAGE_WRITE | PAGE_PRESENT;
    page_clear(0, PAGE_SIZE, PAGE_PRESENT);
    page_clear(guard, guard + STACK_GUARD, PAGE_PRESENT);
    page_clear(address_of(kernel_start), address_of(data_start), PAGE_WRITE);
    traps_set_cr3(address_of(directory));
    __asm__ volatile("mov %0, %%cr3" : : "r"(directory) : "memory");
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr | CR4_PSE));
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr | CR0_PG | CR0_WP) : "memory");
    kprintf("[traps] %d exceptions; unmapped: NULL, %u KiB below the stack; "
            "read-only: %u KiB\n", TRAP_EXCEPTIONS, STACK_GUARD / 1024,
            (address_of(data_start) - address_of(kernel_start)) / 1024);
}
INITCALL(16, paging_init);

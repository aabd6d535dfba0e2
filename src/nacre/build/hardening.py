# SPDX-License-Identifier: Apache-2.0
"""Which of a kernel's options give an attacker more to work with, and which take some of it away.

Most of a kernel's code never runs in an enclave. What counts is what a program inside can ask for, and what
the host can send.

Source: Linux, the help of each option; Kernel Self-Protection Project, "Recommended Settings".
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["PROTECTS", "WIDENS", "unprotected", "widening"]

#: By option, without ``CONFIG_``: what it offers.
WIDENS: Final[Mapping[str, str]] = {
    "ACPI_TABLE_UPGRADE": "ACPI tables can come with the first file system",
    "BINFMT_MISC": "interpreters can be registered while it runs",
    "BPF_JIT": "programs for packets are compiled in the kernel",
    "BPF_SYSCALL": "programs can be loaded into the kernel: bpf(2)",
    "COMPAT_VDSO": "a fixed address for old programs",
    "CRASH_DUMP": "another kernel can read this one's memory",
    "DEBUG_FS": "drivers show and take what they like under /sys/kernel/debug",
    "DEVMEM": "/dev/mem shows physical memory",
    "DEVPORT": "/dev/port reaches the host's ports",
    "FTRACE": "functions of the kernel can be traced",
    "FUSE_FS": "file systems can be made by programs",
    "HIBERNATION": "memory can be written out to the host",
    "IA32_EMULATION": "every call a second time, for 32-bit programs",
    "IO_URING": "calls that filters do not see: io_uring_setup(2)",
    "IP_SCTP": "a further protocol of the network",
    "KALLSYMS": "addresses of the kernel's functions are in it by name",
    "KEXEC": "another kernel can be started: kexec_load(2)",
    "KEXEC_FILE": "another kernel can be started: kexec_file_load(2)",
    "KGDB": "a debugger is built in",
    "KPROBES": "the kernel's code can be changed to trace it",
    "LEGACY_VSYSCALL_EMULATE": "a fixed address for old programs",
    "LEGACY_VSYSCALL_XONLY": "a fixed address for old programs",
    "MAGIC_SYSRQ": "the console can give the kernel commands",
    "MODIFY_LDT_SYSCALL": "16-bit segments: modify_ldt(2)",
    "MODULES": "code can be loaded into the kernel",
    "NETFILTER": "rules for packets, which are programs of a kind",
    "NFS_FS": "a network file system",
    "PACKET": "raw packets can be read and sent",
    "PERF_EVENTS": "counters of the processor: perf_event_open(2)",
    "PROC_KCORE": "/proc/kcore shows the kernel's memory",
    "SCSI": "disks of the host",
    "STAGING": "drivers that are not finished",
    "USB": "devices of the host",
    "USERFAULTFD": "a program can stop the kernel in its own page faults: userfaultfd(2)",
    "USER_NS": "whoever wants is root in a namespace of its own",
    "X86_IOPL_IOPERM": "programs can reach the host's ports: iopl(2)",
    "X86_X32_ABI": "every call a second time, for another kind of program",
}
#: By option: what it is against.
PROTECTS: Final[Mapping[str, str]] = {
    "BUG_ON_DATA_CORRUPTION": "a corrupted list stops the kernel",
    "FORTIFY_SOURCE": "copies that are too long are found",
    "HARDENED_USERCOPY": "copies to and from programs stay inside their objects",
    "INIT_ON_ALLOC_DEFAULT_ON": "memory that is handed out is empty",
    "INIT_STACK_ALL_ZERO": "variables begin as zeros",
    "RANDOMIZE_BASE": "the kernel's address is not known",
    "SCHED_STACK_END_CHECK": "a stack that grew too far is found",
    "SECCOMP_FILTER": "calls can be refused to a program",
    "SLAB_FREELIST_HARDENED": "lists of free memory cannot be forged",
    "SLAB_FREELIST_RANDOM": "the next free memory cannot be guessed",
    "STACKPROTECTOR_STRONG": "a return address that was overwritten is found",
    "STRICT_KERNEL_RWX": "code cannot be written, data cannot be run",
    "VMAP_STACK": "a stack that grows too far faults",
}


def widening(options: Mapping[str, str]) -> tuple[str, ...]:
    """List the options that are set, built in or as a module, and that give more to work with."""
    return tuple(sorted(name for name in WIDENS if options.get(name) in ("y", "m")))


def unprotected(options: Mapping[str, str]) -> tuple[str, ...]:
    """List the options that are not set and that would take something away."""
    return tuple(sorted(name for name in PROTECTS if options.get(name) != "y"))

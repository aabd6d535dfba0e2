# SPDX-License-Identifier: Apache-2.0
"""The host's side of AF_VSOCK for a guest of QEMU, where the host's kernel has no vhost-vsock.

QEMU hands the guest's memory and its two queues to this process (vhost-user). Guest ports are reached through
Unix sockets. The guest is not trusted: whatever it writes into its queues ends its own connections at most.
"""

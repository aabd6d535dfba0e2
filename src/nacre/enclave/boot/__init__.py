# SPDX-License-Identifier: Apache-2.0
"""Inside an enclave that is a machine of its own: from the kernel's first process to the agent."""

# SPDX-License-Identifier: Apache-2.0
"""Inside: the agent. Outside: what starts an enclave, and what stands in for its hardware."""

# SPDX-License-Identifier: Apache-2.0
"""Outside an enclave: what stands in for the hardware, at the very interface that its kernel offers."""

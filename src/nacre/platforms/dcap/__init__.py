# SPDX-License-Identifier: Apache-2.0
"""What SGX and TDX share: quotes, collateral, PCK certificates, TCB levels.

Not a platform by itself.
"""

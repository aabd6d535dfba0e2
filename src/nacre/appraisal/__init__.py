# SPDX-License-Identifier: Apache-2.0
"""Claims + Release + Policy + Binding -> Result."""

# SPDX-License-Identifier: Apache-2.0
"""Starting enclaves, on this machine or on hardware."""

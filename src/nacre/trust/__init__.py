# SPDX-License-Identifier: Apache-2.0
"""Signatures and chains for everybody: strict readers, paths, anchors, and the memo of what held."""

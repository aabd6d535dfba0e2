# SPDX-License-Identifier: Apache-2.0
"""Debian's packages as inputs: signed indices, what depends on what, and the files in a package."""

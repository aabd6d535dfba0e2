# SPDX-License-Identifier: Apache-2.0
"""From source to an image of known bytes."""

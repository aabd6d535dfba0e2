# SPDX-License-Identifier: Apache-2.0
"""The agent: the one process of ours inside an enclave. ``python -m nacre.enclave.agent CONFIG.json``."""

# SPDX-License-Identifier: Apache-2.0
"""AMD SEV-SNP: confidential virtual machines that prove themselves by reports of AMD's security processor."""

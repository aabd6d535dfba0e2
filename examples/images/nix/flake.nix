# SPDX-License-Identifier: Apache-2.0
# A kernel and a first file system for an enclave, and its registers. flake.lock pins nixpkgs: commit it.
{
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.05";

  outputs = { self, nixpkgs }:
    let
      system = "x86_64-linux";
      pkgs = nixpkgs.legacyPackages.${system};

      # What runs: the first process of the machine.
      init = pkgs.pkgsStatic.busybox;

      # NSM's driver is part of the kernel, and so is what finds devices that Nitro names on the command line.
      kernel = pkgs.linux_6_12.override {
        structuredExtraConfig = with pkgs.lib.kernel; {
          VIRTIO_MMIO = yes;
          VIRTIO_MMIO_CMDLINE_DEVICES = yes;
          VSOCKETS = yes;
          VIRTIO_VSOCKETS = yes;
          NSM = yes;
        };
        ignoreConfigErrors = true;
      };

      # Not compressed: what is packed is measured, and packers differ.
      initrd = pkgs.makeInitrd {
        compressor = "cat";
        contents = [
          { object = "${init}/bin/busybox"; symlink = "/bin/busybox"; }
          {
            object = pkgs.writeScript "init" "#!/bin/busybox sh\nexec /bin/busybox sleep 2147483647\n";
            symlink = "/init";
          }
        ];
      };

      cmdline = "reboot=k panic=30 pci=off nomodules console=ttyS0 random.trust_cpu=on";
    in {
      packages.${system}.default = pkgs.runCommand "enclave" { } ''
        mkdir $out
        cp ${kernel}/bzImage $out/kernel
        cp ${initrd}/initrd $out/initrd
        printf %s ${pkgs.lib.escapeShellArg cmdline} > $out/cmdline
      '';
    };
}

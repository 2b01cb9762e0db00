import path from 'node:path';

/** Folders that a command has empty and to itself. What is in /run are the sockets of the machine. */
export const privateFolders = ['/tmp', '/var/tmp', '/run', '/var/run', '/home', '/root'];

/** Parts of /run that programs need: where NixOS has its programs. */
export const neededOfRun = ['/run/current-system', '/run/opengl-driver'];

/** Where a link to the names of the network's servers may lead into /run. */
export const RESOLVER_FILE = '/etc/resolv.conf';

/** Places of the machine with secrets that a server run as root could read, and sockets that rule it. */
export const machineSecrets = [
  '/etc/shadow',
  '/etc/shadow-',
  '/etc/gshadow',
  '/etc/gshadow-',
  '/etc/sudoers',
  '/etc/sudoers.d',
  '/etc/krb5.keytab',
  '/etc/ssl/private',
  '/etc/letsencrypt',
  '/etc/wireguard',
  '/etc/openvpn',
  '/etc/ipsec.secrets',
  '/etc/kubernetes',
  '/etc/rancher',
  '/etc/NetworkManager/system-connections',
  '/etc/netplan',
  '/etc/ssh/ssh_host_rsa_key',
  '/etc/ssh/ssh_host_ecdsa_key',
  '/etc/ssh/ssh_host_ed25519_key',
  '/var/backups',
  '/var/mail',
  '/var/spool',
  '/var/lib/containerd',
  '/var/lib/docker',
  '/var/lib/kubelet',
  '/var/lib/lxd',
  '/var/lib/rancher',
  '/var/snap/lxd',
  '/boot',
  '/sys/kernel/debug',
  '/sys/kernel/tracing',
  '/sys/fs/bpf',
];

/** Where people's secrets lie in their home, for a home that cannot be hidden as a whole. */
export const homeSecrets = [
  '.ssh',
  '.gnupg',
  '.aws',
  '.azure',
  '.bash_history',
  '.cargo/credentials',
  '.cargo/credentials.toml',
  '.config/containers',
  '.config/doctl',
  '.config/duragent',
  '.config/gcloud',
  '.config/gh',
  '.config/git/credentials',
  '.config/google-chrome',
  '.config/chromium',
  '.config/hub',
  '.config/op',
  '.config/rclone',
  '.config/sops',
  '.docker',
  '.git-credentials',
  '.gem/credentials',
  '.kube',
  '.local/share/keyrings',
  '.mozilla',
  '.netrc',
  '.node_repl_history',
  '.npmrc',
  '.password-store',
  '.pgpass',
  '.my.cnf',
  '.pypirc',
  '.python_history',
  '.terraform.d',
  '.vault-token',
  '.yarnrc.yml',
  '.zsh_history',
];

/** Files with variables, in a folder that has a configuration. */
export const environmentFiles = ['.env', '.env.local', '.env.development', '.env.production'];

/**
 * Files and folders that no command can read in its workspace, whether they are there or not: who
 * reads files for agents outside of the sandbox does not read them either.
 */
export function secretPlaces(places: {
  dataDir: string;
  homes: readonly string[];
  envFolders: readonly string[];
  hidden: readonly string[];
}): string[] {
  const { dataDir, homes, envFolders, hidden } = places;
  return [
    dataDir,
    ...hidden,
    ...machineSecrets,
    ...homes.flatMap((home) => homeSecrets.map((name) => path.join(home, name))),
    ...envFolders.flatMap((folder) => environmentFiles.map((name) => path.join(folder, name))),
  ];
}

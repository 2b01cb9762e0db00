import { readFile, stat, statfs } from 'node:fs/promises';

/** Types that statfs(2) gives for file systems of other machines (linux/magic.h and their drivers). */
const networkTypes: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'AFS'],
  [0x73757245, 'Coda'],
  [0x564c, 'NCP'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
  [0x01021997, '9P'],
  [0x19830326, 'BeeGFS'],
  [0x47504653, 'GPFS'],
]);
const FUSE_TYPE = 0x65735546;
/** FUSE serves local disks too: only these names in the mount table are of other machines. */
const networkFuse =
  /^fuse\.(sshfs|s3fs|goofys|mount-?s3|rclone|gcsfuse|blobfuse2?|davfs2?|curlftpfs|smbnetfs|glusterfs|ceph(-fuse)?|juicefs.*|seaweedfs|afp.*|nfs.*)$/i;

/** The name of the network file system that a directory is on; null for a local one. */
export async function findNetworkFs(directory: string): Promise<string | null> {
  // Elsewhere the numbers mean something else.
  if (process.platform !== 'linux') return null;
  const type = Number((await statfs(directory)).type);
  if (type >>> 0 !== FUSE_TYPE) return networkFsName(type, null);
  const { dev } = await stat(directory);
  return networkFsName(type, mountTypeOf(await readFile('/proc/self/mountinfo', 'utf8'), dev));
}

/** The name for a type of statfs; `mountType` is what the mount table calls a FUSE one. */
export function networkFsName(type: number, mountType: string | null): string | null {
  const unsigned = type >>> 0;
  if (unsigned === FUSE_TYPE) {
    return mountType !== null && networkFuse.test(mountType) ? mountType : null;
  }
  return networkTypes.get(unsigned) ?? null;
}

/** The type of the mount with a device number, from the text of `/proc/self/mountinfo`. */
export function mountTypeOf(mountinfo: string, dev: number): string | null {
  const device = `${majorOf(dev)}:${minorOf(dev)}`;
  for (const line of mountinfo.split('\n')) {
    const [mount, rest] = line.split(' - ');
    if (mount?.split(' ')[2] === device) return rest?.split(' ')[0] ?? null;
  }
  return null;
}

function majorOf(dev: number): number {
  return Math.floor(dev / 256) % 4096;
}

function minorOf(dev: number): number {
  return (dev % 256) + Math.floor(dev / 1048576) * 256;
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/**
 * Boots the machine and waits for its end, streaming its output to ours.
 *
 * @param {{ image: string, initramfs: string, disk: string, exitFile: string, reportFile: string, consoleFile: string, memoryMb: number, processors: number, timeoutMs: number, append: string }} options
 * @returns {Promise<number>} the exit code of the command; 124 after a timeout, 125 when the machine did not get that far
 */
export async function boot(options) {
  // An input that never ends: at its end QEMU would call the port disconnected, and the guest's writes would wait.
  const qemu = spawn('qemu-system-x86_64', qemuArguments(options), { stdio: ['pipe', 'inherit', 'inherit'] });
  const stop = () => qemu.kill('SIGKILL');
  process.once('exit', stop);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    stop();
  }, options.timeoutMs);
  await once(qemu, 'exit');
  clearTimeout(timer);
  process.off('exit', stop);
  const code = /^\d+$/m.exec(readFileSync(options.exitFile, 'utf8'))?.[0];
  if (code !== undefined) return Number(code);
  const why = timedOut ? `stopped after ${options.timeoutMs / 60_000} minutes` : 'the machine ended early';
  console.error(`test:vm: ${why}; the end of its console:`);
  console.error(readFileSync(options.consoleFile, 'latin1').split('\n').slice(-30).join('\n'));
  return timedOut ? 124 : 125;
}

/**
 * The microvm has no clock by which the kernel could measure the time stamp counter: without these it stops early in its
 * boot. Under emulation the counter is the host's.
 */
function clockParameters() {
  const khz = Math.round(cpus()[0].speed * 1_000) || 2_000_000;
  const ticksPerSecond = 250; // CONFIG_HZ of Debian's kernels
  return [`tsc_early_khz=${khz}`, 'tsc=reliable', `lpj=${Math.round((khz * 1_000) / ticksPerSecond)}`];
}

function qemuArguments({ image, initramfs, disk, exitFile, reportFile, consoleFile, memoryMb, processors, append }) {
  const kernelLine = [
    'panic=-1 reboot=t mitigations=off nokaslr random.trust_cpu=on audit=0',
    'console=ttyS0 loglevel=4',
    ...clockParameters(),
    // Debian's kernels default to these or not, depending on the release: say it.
    'apparmor=1 security=apparmor psi=1 swapaccount=1',
    append,
  ].join(' ');
  return [
    ...['-M', 'microvm', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', `${processors}`, '-m', `${memoryMb}`],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-kernel', image, '-initrd', initramfs, '-append', kernelLine],
    // The serial console is slow and mangles; it only keeps the kernel's messages.
    ...['-serial', `file:${consoleFile}`],
    ...['-device', 'virtio-serial-device'],
    ...['-chardev', 'stdio,id=output,signal=off', '-device', 'virtserialport,chardev=output,name=ns.output'],
    ...['-chardev', `file,id=exit,path=${exitFile}`, '-device', 'virtserialport,chardev=exit,name=ns.exit'],
    ...['-chardev', `file,id=report,path=${reportFile}`, '-device', 'virtserialport,chardev=report,name=ns.report'],
    ...['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-device,fsdev=host,mount_tag=host'],
    ...['-drive', `file=${disk},format=raw,if=none,id=disk,cache=unsafe`, '-device', 'virtio-blk-device,drive=disk'],
    ...['-object', 'rng-random,filename=/dev/urandom,id=rng', '-device', 'virtio-rng-device,rng=rng'],
  ];
}

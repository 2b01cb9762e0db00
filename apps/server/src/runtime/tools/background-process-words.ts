import { oneLine } from '../../core/display-text.ts';
import {
  hasEnded,
  type ProcessRecord,
  type ProcessWatch,
} from '../../core/processes/process-record.ts';
import { meaningOf } from './command-result.ts';

/** A process by its id, its name and its command, in one line. */
export function nameOf({ id, name, command }: ProcessRecord): string {
  return `${id} (${name === null ? '' : `${oneLine(name, 60)}: `}${oneLine(command, 120)})`;
}

/** How it is with a process, in words that go on with its name. */
export function stateOf(record: ProcessRecord, now: number): string {
  const began = Date.parse(record.started_at);
  const ended = record.ended_at === null ? now : Date.parse(record.ended_at);
  const ran = duration(ended - began);
  switch (record.state) {
    case 'starting':
      return 'is being started';
    case 'running':
      return `runs since ${ran}${record.interactive ? ', in a terminal' : ''}`;
    case 'exited':
      return `ended after ${ran}, ${endOf(record)}`;
    case 'killed':
      return `was ended by kill after ${ran}`;
    case 'stopped':
      return `was ended after ${ran}, when the server stopped`;
    case 'lost':
      return 'is lost: it was found dead, and nobody can say how it ended or whether it did all of its work';
    case 'failed':
      return `was not started: ${record.fault ?? 'nobody can say why'}`;
  }
}

/** What a session is told when a process has ended. */
export function endNotice(record: ProcessRecord, tail: string, now: number): string {
  const output = tail.trim() === '' ? 'It printed nothing.' : `The end of its output:\n${tail}`;
  return `The background process ${nameOf(record)} ${stateOf(record, now)}.\n${output}`;
}

/** What a session is told when a text that it waits for was printed. */
export function lineNotice(record: ProcessRecord, watch: ProcessWatch): string {
  const after = hasEnded(record) ? ' It has ended since.' : '';
  return `The background process ${nameOf(record)} has printed a line with ${JSON.stringify(watch.text)}:\n${watch.line ?? ''}\nThis watch is over.${after}`;
}

function endOf({ exit_code: code, signal }: ProcessRecord): string {
  if (signal !== null) return `by ${signal}`;
  return code === null ? 'nobody can say how' : `with exit code ${code}${meaningOf(code)}`;
}

function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

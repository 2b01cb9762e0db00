import { evaluatePolicy } from '../../apps/server/src/core/policy/evaluate-policy.ts';
import type { PolicyCall } from '../../apps/server/src/core/policy/policy-call.ts';
import { policyFileSchema } from '../../apps/server/src/core/policy/policy-file.ts';
import type { Row, Size } from './rows.ts';
import { compare, median, takePairs } from './statistics.ts';

/** The rules of the policies that are measured. */
export const RULES = 200;
const DENY = 40;
const NOTIFY = 20;
/** Decisions on each call of the mix in a block. */
const ROUNDS = 50;

/** Decisions by a policy, in this process. */
export function measurePolicy(_: unknown, size: Size): Promise<Row[]> {
  const policies = {
    workspace: policyFileSchema.parse(JSON.parse(policyText([]))),
    agent: null,
    local: null,
  };
  const decide = (call: PolicyCall): unknown => evaluatePolicy({ policies }, call);
  return measureMix(size, decide);
}

async function measureMix(size: Size, decide: (call: PolicyCall) => unknown): Promise<Row[]> {
  const mix = calls.map((call) => ({ call, json: JSON.stringify(call) }));
  const decided = () => median(mix.map(({ call }) => timeOf(() => decide(call))));
  const parsed = () => median(mix.map(({ json }) => timeOf(() => JSON.parse(json))));
  const slowest = () => Math.max(...mix.map(({ call }) => timeOf(() => decide(call))));
  const slowestParsed = () => Math.max(...mix.map(({ json }) => timeOf(() => JSON.parse(json))));
  for (let block = 0; block < 20; block++) {
    decided();
    parsed();
  }
  const later = (measure: () => number) => () => Promise.resolve(measure());
  const pairs = await takePairs(size.policyPairs, later(decided), later(parsed));
  const slowPairs = await takePairs(size.policyPairs, later(slowest), later(slowestParsed));
  const against = 'JSON.parse of the call';
  return [
    {
      figure: `policy decision, ${RULES} rules`,
      against,
      unit: 'µs',
      comparison: compare(pairs),
      goal: { more: 50 },
      whenMissed: 'every rule that stops or tells is held against every spelling of the call.',
      meaning: `\`evaluatePolicy\` from source, in the process of the bench, with ${DENY} rules that deny, ${RULES - DENY - NOTIFY} that allow and ${NOTIFY} that notify, over ${calls.length} calls: plain commands, chains, pipes, a script in a here-document, a call of an MCP server, of a built-in and of a command line tool. Most of them fit no rule, so that all are looked at. A pair is the median over these calls, each of them the median of ${ROUNDS}. The rules are read beforehand, as the server does when the file changes.`,
    },
    {
      figure: 'the slowest of these calls',
      against,
      unit: 'µs',
      comparison: compare(slowPairs),
      meaning: 'As the row before, with the largest of the medians in place of their median.',
    },
  ];
}

/** The median time of doing it once, in µs. */
function timeOf(work: () => unknown): number {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = performance.now();
    work();
    times.push(performance.now() - startedAt);
  }
  return median(times) * 1000;
}

/** A policy.yaml with as many rules; these of them, the last ones, allow. JSON is YAML. */
export function policyText(allowed: readonly string[]): string {
  const allow = programs
    .flatMap((program) => verbs.map((verb) => `bash:${program} ${verb}`))
    .slice(0, RULES - DENY - NOTIFY - allowed.length);
  const deny = [
    ...dangers.map((danger) => `bash:${danger}`),
    ...secrets.map((secret) => `*:*${secret}*`),
    ...['delete', 'drop', 'transfer', 'publish'].map((verb) => `mcp:*:${verb}*`),
  ];
  const notify = Array.from({ length: NOTIFY }, (_, index) => `mcp:server-${index}:*`);
  if (deny.length !== DENY || allow.length + allowed.length + DENY + NOTIFY !== RULES) {
    throw new Error(`these are not ${RULES} rules`);
  }
  return JSON.stringify({ mode: 'ask', deny, allow: [...allow, ...allowed], notify });
}

const programs = 'git npm docker kubectl cargo go terraform gh systemctl helm'.split(' ');
const verbs =
  'status *|log *|diff|show *|list|get *|describe *|test *|build --release|version|info|run lint *|check src/*|plan -out *'.split(
    '|',
  );
const dangers =
  'rm -rf *; sudo *; mkfs*; dd *; shutdown *; reboot; chmod 777 *; chown *; git push --force*; git reset --hard*; npm publish*; docker system prune*; kubectl delete *; terraform destroy*; curl * | sh*; wget *; nc *; ssh *; scp *; crontab *; iptables *; mount *; umount *; passwd *; userdel *; killall *'.split(
    '; ',
  );
const secrets = 'secret|password|id_rsa|.env|credentials|token|private_key|.pem|.kube|.aws'.split(
  '|',
);

const calls: readonly PolicyCall[] = [
  ...[
    'true',
    'git status',
    'ls -la src/components',
    "grep -rn 'export function' src --include='*.ts'",
    'cd app && npm ci && npm run build && npm test -- --coverage',
    "find . -name '*.ts' -not -path './node_modules/*' | xargs wc -l | sort -n | tail -20",
    'env NODE_ENV=production timeout 60 node scripts/migrate.js --dry-run --verbose',
    'for file in *.json; do jq . "$file" > "out/$file" || echo "bad: $file" >&2; done',
    `cat > notes/report.md <<'EOF'\n${'A line of a report that is as long as lines of reports are.\n'.repeat(30)}EOF`,
    `python3 -c "import json, sys; print(json.load(sys.stdin)['name'])" < package.json`,
  ].map((command): PolicyCall => ({ kind: 'bash', command })),
  {
    kind: 'mcp',
    server: 'github',
    name: 'create_issue',
    args: {
      owner: 'someone',
      repo: 'something',
      title: 'The build fails on a clean checkout',
      body: 'It ends with an error in the second step. '.repeat(20),
      labels: ['bug', 'build'],
      assignees: [{ login: 'a' }, { login: 'b' }],
    },
  },
  {
    kind: 'builtin',
    name: 'web',
    action: 'fetch',
    args: { action: 'fetch', url: 'https://example.com/docs/a-page.html?with=a&query=too' },
    harmless: false,
  },
  {
    kind: 'cli',
    name: 'deploy-preview',
    args: { branch: 'main', region: 'eu-central-1', replicas: 2 },
  },
];

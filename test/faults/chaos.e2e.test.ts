import { expect, test } from 'vitest';
import { runCampaign } from '../chaos/campaign.ts';
import { tellStory } from '../chaos/story.ts';

/** How often something is killed; many more with `npm run chaos -- --kills 1000`. */
const KILLS = Number(process.env['DURAGENT_KILLS'] ?? 12);
const SEED = Number(process.env['DURAGENT_SEED'] ?? 1);

// Processes are found in /proc.
test.skipIf(process.platform !== 'linux')(
  `${KILLS} kills of servers and gateways (seed ${SEED}) lose and double nothing in any chat`,
  { timeout: 150_000 + KILLS * 8_000 },
  async () => {
    const report = await runCampaign({ seed: SEED, kills: KILLS, checkEvery: 100 });
    const { counts, findings } = report;
    if (findings.length > 0) throw new Error(tellStory({ seed: SEED, report }));
    expect(counts['said']).toBeGreaterThan(KILLS);
    expect(counts['shown']).toBeGreaterThan(KILLS);
    // The kills met deliveries, so that it was in doubt whether they were posted.
    expect(counts['uncertain']).toBeGreaterThan(0);
  },
);

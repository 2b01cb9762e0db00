import * as grammy from 'grammy';

// Importing grammy: what starting a gateway for Telegram and keeping it in memory costs at least.
// With `stay` it says so and stays until its stdin ends, else it ends at once.

if (typeof grammy.Api !== 'function') throw new Error('grammy has no Api');
if (process.argv[2] === 'stay') {
  console.log('imported');
  process.stdin.resume();
}

import Koa from 'koa';

// koa's "hello": what starting a server and keeping it in memory costs at least.

const app = new Koa();
app.use((ctx) => {
  ctx.body = 'hello';
});
app.listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));

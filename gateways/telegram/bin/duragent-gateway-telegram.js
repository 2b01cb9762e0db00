#!/usr/bin/env -S node --conditions=@duragent/source
// The gateway as it runs in this repository: from the sources, without a build. What is published
// has an entry of its own, written by the build.
import module from 'node:module';

module.enableCompileCache();
await import('../src/main.ts');

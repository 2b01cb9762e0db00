export * from './api.ts';
export * from './errors.ts';
export * from './events.ts';
export * from './lines.ts';
export * from './names.ts';

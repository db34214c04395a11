export { needs, notRoot } from './needs.ts';

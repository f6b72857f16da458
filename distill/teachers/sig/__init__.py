"""Rules for medication lines as a teacher."""

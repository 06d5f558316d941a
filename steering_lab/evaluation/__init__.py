"""What an intervention did: `running` conditions, `measuring` what came out, `inferring` effects from it."""
